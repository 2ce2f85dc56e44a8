"""The dashboards, one a file or a folder: what they show and say, in the order of their rows."""
