"""Vision pretraining: a backbone distilled from itself (DINO), whose attention finds causal patches."""
