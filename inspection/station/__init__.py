"""What a person uses: the viewer."""
