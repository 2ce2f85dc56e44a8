# What the shipped files expect on 127.0.0.1 is a container of its own here.
s/127\.0\.0\.1:5000/mlflow:5000/
s/127\.0\.0\.1:8080/receiver:8080/
s/127\.0\.0\.1:9090/prometheus:9090/
s/127\.0\.0\.1:9093/alertmanager:9093/
s/127\.0\.0\.1:10500/exporter:10500/
s#/var/lib/grafana/dashboards/mlflow#/etc/mlflow/dashboards#
# Of the receivers that wait behind a `#` the webhook of `chat`, which gets all that people are to know.
/^#    webhook_configs:$/{
N
s/^#\(.*\n\)#\(.*\/\/\)127\.0\.0\.1:8080\/alerts$/\1\2receiver:8080\/alerts/
}
