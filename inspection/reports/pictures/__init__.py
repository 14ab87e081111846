"""Drawings of the tables and photographs, and the pages they stand on."""
