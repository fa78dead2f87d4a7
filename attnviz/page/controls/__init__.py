"""What a visitor chooses with, and what a link says of it."""
