"""The four steps of one head: their maths, what a trace holds, and what is said about it."""
