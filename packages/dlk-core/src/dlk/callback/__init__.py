"""What happens around training: checkpoints, early stopping, logging, as Lightning callbacks."""
