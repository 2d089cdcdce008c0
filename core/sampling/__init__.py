"""From a trained run to pictures, step by step."""
