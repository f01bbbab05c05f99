"""Commands with a module each; `main` has their options."""
