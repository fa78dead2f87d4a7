"""What a step means: in a sentence, in arithmetic, by dimension and by key."""
