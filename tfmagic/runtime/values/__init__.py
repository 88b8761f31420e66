"""What a namespace holds: tensors, variables, arrays and modules, their numbers and their parts."""
