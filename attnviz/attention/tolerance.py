"""How closely a replay has to agree with the model to count as exact."""

# No replayed weight differs from the model's own by more than this, and no updated value by more
# than this times the largest of them. The dtype that the model computes in decides.
TOLERANCE = {"float64": 1e-5, "float32": 1e-5, "bfloat16": 2e-2, "float16": 2e-2}
