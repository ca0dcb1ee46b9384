import scenarios  # noqa: F401

print("test image ready")
