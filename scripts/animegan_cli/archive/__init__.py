"""The archive that TorchServe loads: its networks as TorchScript, then all of it packed."""
