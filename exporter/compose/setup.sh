#!/bin/sh
# Run by `docker compose up` before all else: makes the passwords that are missing, the SQL of the exporter's rights, and
# the configuration of Prometheus, Alertmanager and Grafana from the files of this checkout, with the addresses that
# things have among containers.
set -eu

# A password has 24 random bytes, an owner, and a group that may read it: Postgres' own (999), which gives it to the role.
password() {
    [ -s "/run/secrets/$1" ] && return
    python3 -c 'import secrets; print(secrets.token_urlsafe(24), end="")' > "/run/secrets/.$1"
    keep "$1" "$2" "$3"
}

# Readable by none until it is its owner's, and there as a whole or not at all.
keep() {
    chmod "$3" "/run/secrets/.$1"
    chown "$2" "/run/secrets/.$1"
    mv "/run/secrets/.$1" "/run/secrets/$1"
}

umask 077
password postgres 999:999 400
password mlflow 0:999 440
password exporter 10001:999 440
password grafana 472:0 400
# libpq reads it so, and the password is in no command line, address or environment.
printf 'postgres:5432:mlflow:mlflow:%s\n' "$(cat /run/secrets/mlflow)" > /run/secrets/.mlflow.pgpass
keep mlflow.pgpass 10001:10001 400
umask 022

rm -rf /tmp/pack
mlflow-exporter pack /tmp/pack \
    --runbook-url "http://$PUBLIC_HOST:10500/runbooks" --grafana-url "http://$PUBLIC_HOST:3000" > /dev/null
# What people edit is taken from the checkout, not from the image: the jobs that are scraped, who is notified.
cp -r /alerts/prometheus.yml /alerts/alertmanager.yml /alerts/templates /tmp/pack
mv /tmp/pack/dashboards/provisioning /tmp/pack/provisioning
for kind in dashboards datasources; do
    mkdir "/tmp/pack/provisioning/$kind"
    mv "/tmp/pack/provisioning/$kind.yml" "/tmp/pack/provisioning/$kind/mlflow.yml"
done
sed -i -f /compose/addresses.sed /tmp/pack/prometheus.yml /tmp/pack/alertmanager.yml /tmp/pack/provisioning/*/*.yml
mlflow-exporter grants --existing-role > /tmp/pack/grants.sql
rm -rf /etc/mlflow/*
cp -r /tmp/pack/* /etc/mlflow/
echo "The passwords and the configuration are there."
