"""What is done to events: ordered, split, stored, audited and gathered into batches."""
