import type { FileNode } from "./files.ts";
import { file, program } from "./files.ts";
import type { Package } from "./packages.ts";
import { archive } from "./stand-ins.ts";

/**
 * Intel's DCAP 1.21 for Ubuntu 22.04 as seed 003 downloads it: names, places and MD5 sums are the document's, the rest is
 * synthetic.
 */
const FOLDER = "https://download.01.org/intel-sgx/sgx-dcap/1.21/linux/distro/ubuntu22.04-server";
/** An archive of packages in a folder: apt takes it once a source names it. */
const REPOSITORY = "/srv/sgx_debian_local_repo";
export const SGX_SDK = "/opt/intel/sgxsdk";
export const QUOTE_SAMPLE = "/opt/intel/tdx-quote-generation-sample";
export const QCNL = "/etc/sgx_default_qcnl.conf";
/** Certificates of Baidu's platforms: no other server has them. */
export const PCCS = "https://pccs.baidubce.com:8081";

const sample = (path: string) => `confidential-computing.tee.dcap-DCAP_1.21/SampleCode/QuoteVerificationSample/${path}`;
const withMd5 = (node: FileNode, md5: string, size: number): FileNode =>
  node.kind === "file" ? { ...node, md5, size } : node;

export const DCAP_DOWNLOADS: readonly { readonly url: string; readonly node: FileNode }[] = [
  {
    url: `${FOLDER}/sgx_debian_local_repo.tgz`,
    node: withMd5(
      file(archive({ "sgx_debian_local_repo/pool/main/README": file("synthetic\n") })),
      "71169068a5f0f99d203ad9f3d7976a9f",
      40_000_000,
    ),
  },
  {
    url: `${FOLDER}/sgx_linux_x64_sdk_2.24.100.3.bin`,
    node: withMd5(
      { ...file("#!/usr/bin/env bash\n# synthetic\n"), program: "sgx-sdk-installer" },
      "bc8c3453b44c6c6ce0c9fa1804cd2565",
      60_000_000,
    ),
  },
  {
    url: "https://github.com/intel/confidential-computing.tee.dcap/archive/refs/tags/DCAP_1.21.tar.gz",
    node: withMd5(
      file(
        archive({
          [sample("Makefile")]: file("include $(SGX_SDK)/buildenv.mk\nApp_Name := app\n"),
          [sample("App/App.cpp")]: file("// synthetic\n"),
        }),
      ),
      "c4f2bd528e153f651adc9564a5b200b5",
      30_000_000,
    ),
  },
];

const QCNL_TEXT = `{
  //PCCS server address
  "pccs_url": "https://localhost:8081/sgx/certification/v4/"

  // To accept insecure HTTPS certificate, set this option to false
  ,"use_secure_cert": false
}
`;

/** What that folder's archive holds. */
export const dcapPackages = (): readonly Package[] => {
  const plain = (name: string, files: Readonly<Record<string, FileNode>> = {}): Package => ({
    name,
    version: "1.21.100.3-jammy1",
    from: REPOSITORY,
    files,
  });
  return [
    plain("libtdx-attest"),
    plain("libtdx-attest-dev", {
      [`${QUOTE_SAMPLE}/Makefile`]: file("test_tdx_attest: test_tdx_attest.c\n"),
      [`${QUOTE_SAMPLE}/test_tdx_attest.c`]: file("/* synthetic */\n"),
    }),
    plain("libsgx-dcap-default-qpl", { [QCNL]: file(QCNL_TEXT) }),
    ...["libsgx-dcap-quote-verify", "libsgx-dcap-quote-verify-dev", "libsgx-ae-qve", "libsgx-enclave-common-dev"].map(
      (name) => plain(name),
    ),
    ...["libsgx-dcap-default-qpl-dev", "sgx-ra-service", "libsgx-urts"].map((name) => plain(name)),
  ];
};

export const SDK_FILES: Readonly<Record<string, FileNode>> = {
  [`${SGX_SDK}/buildenv.mk`]: file("# synthetic\n"),
  [`${SGX_SDK}/environment`]: file(`export SGX_SDK=${SGX_SDK}\n`),
};
export const GENERATOR = program("test_tdx_attest");
export const VERIFIER = program("sgx-quote-app");
