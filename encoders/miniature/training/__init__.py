"""How the shipped weights are made: the generated world as training data, the recipe, the loop, and the evaluation."""
