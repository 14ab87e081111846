"""What is wrong with the photographs: copies, series, leaks, bad exposures."""
