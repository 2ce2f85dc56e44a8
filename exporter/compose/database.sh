#!/bin/sh
# Run once by the Postgres image, as superuser, when the database is made: MLflow's role and the exporter's, which gets
# its rights from what `mlflow-exporter grants` prints. The passwords are those of setup.sh.
set -eu
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username postgres --dbname postgres <<'SQL'
\set mlflow `cat /run/secrets/mlflow`
\set exporter `cat /run/secrets/exporter`
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
CREATE ROLE exporter LOGIN PASSWORD :'exporter';
CREATE DATABASE mlflow OWNER mlflow;
REVOKE ALL ON DATABASE mlflow FROM public;
SQL
