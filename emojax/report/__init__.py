"""What people look at: contact sheets, cards, plots, the paper's figures, the HTML page."""
