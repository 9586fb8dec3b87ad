"""PyTorch definitions of the networks mien is built for, their variants, seeded weights and exports."""
