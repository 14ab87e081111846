"""The only room with torch: pretrained weights, ONNX export, BaselineCNN, fine-tuning."""

import os

# Before torch is imported. Its threads wait for each other after every layer, by default by spinning; where another
# program needs a core, each waits for one that does not run, and training takes several times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
