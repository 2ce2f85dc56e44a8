"""A Prometheus exporter for MLflow tracking servers on Postgres."""

__version__ = "0.1.0"
