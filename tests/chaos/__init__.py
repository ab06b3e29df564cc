"""What remains of a booking when a process is killed in the midst of it: real processes, gateways, store and carrier
protocol; only the ears, the mouth and the wording of the agent are fakes, so that hundreds of calls can be placed."""
