-- by_start begins with the experiment too, and nothing is found by the time at which a run was made.
ALTER TABLE tracking_runs DROP KEY by_experiment;
