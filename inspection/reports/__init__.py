"""What a run says of itself: metrics, tables, pictures, the HTML report."""
