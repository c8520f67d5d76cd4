"""The scripts that the coordinator submits as jobs, one file each; banks review their text."""
