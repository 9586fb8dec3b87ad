"""Writes the ONNX project's node tests of the installed onnx package in backend-test layout: DIR/node/test_NAME/model.onnx with
test_data_set_0.  usage: conformance_data.py DIR"""

import argparse
import sys
import warnings

from onnx.backend.test import cmd_tools
from onnx.backend.test.case import node

if len(sys.argv) != 2:
    sys.exit(__doc__)
warnings.simplefilter("ignore")  # numpy's, about infinities that the tests want
cmd_tools.model_test.collect_testcases = node.collect_testcases
cmd_tools.generate_data(argparse.Namespace(output=sys.argv[1], clean=False, op_type=None, diff=None))
