#!/bin/sh
# Run once by the Postgres image, as superuser, when the database is made: MLflow's role and the exporter's, which can
# only look. The passwords are those of setup.sh.
set -eu
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username postgres --dbname postgres <<'SQL'
\set mlflow `cat /run/secrets/mlflow`
\set exporter `cat /run/secrets/exporter`
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
CREATE ROLE exporter LOGIN PASSWORD :'exporter' CONNECTION LIMIT 4;
CREATE DATABASE mlflow OWNER mlflow;
REVOKE ALL ON DATABASE mlflow FROM public;
GRANT CONNECT ON DATABASE mlflow TO exporter;
GRANT pg_monitor TO exporter;
\connect mlflow
CREATE EXTENSION pg_stat_statements;
SQL
