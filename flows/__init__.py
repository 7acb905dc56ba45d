"""What is asked and answered: workloads, flows, verdicts, evidence, the matrix and the agent."""
