"""What votes: features, shallow classifiers, the guard, and the card of each voter."""
