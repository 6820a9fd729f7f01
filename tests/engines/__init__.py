"""Real database servers for tests: each in a folder of its own, on this machine only, gone with the test run."""
