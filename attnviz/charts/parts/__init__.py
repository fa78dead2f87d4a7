"""What figures are made of: colours, axes, windows, values."""
