"""`python -m exporter` is `mlflow-exporter`."""

import sys

from exporter.cli import main

sys.exit(main())
