import type { Launch } from "../kit/appraisal.ts";
import { TeeUpError } from "../kit/errors.ts";
import { expectedMeasurement } from "./launch.ts";

/** The launch measurement that a guest started like this will have. Throws Refused, and TeeUpError `attest.firmware`. */
export async function measurementOf(launch: Launch, read: (path: string) => Promise<Uint8Array>): Promise<string> {
  const ovmf = await read(launch.firmware).catch((error: Error) => {
    throw new TeeUpError({
      code: "attest.firmware",
      subject: launch.firmware,
      saw: `the guest's firmware cannot be read here: ${error.message}`,
      next: "teeup:attestation.firmware names a file of this machine, from the project's folder",
    });
  });
  const { vcpus, cpuModel: vcpuType, features } = launch;
  return expectedMeasurement({ ovmf, vcpus, vcpuType, guestFeatures: BigInt(features) });
}
