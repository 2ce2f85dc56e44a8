"""The dashboards: built from the metrics' declarations and the alerts' rules, as files for Grafana."""
