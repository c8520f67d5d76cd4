"""Data sets, clients, partitions, federated standardisation. Taught in chapters 01, 02 and 09."""
