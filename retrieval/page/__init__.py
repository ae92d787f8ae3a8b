"""The page of `sensorium view`: one table, asked and looked at in a browser on this machine."""
