"""What the notebooks share: data, models, profiles, stored runs, results and figures."""
