import { TOOLS_DIR } from "./argv.ts";

/** nvtrust's sources and the Python environment made from them (seed 001 works in /shared). */
export const SDK_DIR = `${TOOLS_DIR}/nvtrust`;
export const VENV = `${TOOLS_DIR}/nvattest-venv`;
export const ATTEST_PY = `${TOOLS_DIR}/attest.py`;

/**
 * Runs the seed-era SDK with a given nonce and policy file and prints one line of JSON, since the SDK itself prints
 * prose. The SDK's own output goes to stderr. API: NVIDIA/nvtrust guest_tools/attestation_sdk, attestation.py.
 */
export const ATTEST_PY_TEXT = `# Written by TeeUp. Usage: attest.py NONCE POLICY_FILE
import base64
import contextlib
import glob
import json
import sys

nonce, policy_file = sys.argv[1:3]
result = {"attested": False, "policy": False, "nonce": "", "gpus": 0, "claims": {}, "error": ""}
try:
    with open(policy_file) as f:
        policy = f.read()
    with contextlib.redirect_stdout(sys.stderr):
        from nv_attestation_sdk import attestation

        client = attestation.Attestation("teeup")
        client.set_nonce(nonce)
        client.add_verifier(attestation.Devices.GPU, attestation.Environment.LOCAL, "", "")
        result["nonce"] = client.get_nonce()
        result["attested"] = client.attest() is True
        result["policy"] = client.validate_token(policy) is True
        token = json.loads(client.get_token())[1]["LOCAL_GPU_CLAIMS"].split(".")[1]
        result["claims"] = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        result["gpus"] = len(glob.glob("/proc/driver/nvidia/gpus/*"))
except Exception as error:
    result["error"] = f"{type(error).__name__}: {error}"
print(json.dumps(result))
`;
