"""What the commands of `fedlab` do. Taught in chapter 14."""
