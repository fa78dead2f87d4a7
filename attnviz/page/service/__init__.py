"""What is behind the page: models, downloads, settings, the process."""
