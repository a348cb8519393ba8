import { z } from "zod";
import type { Answer } from "../kit/ask.ts";
import { ok } from "../kit/ask.ts";
import type { Fact } from "../kit/facts.ts";
import { known, unknown } from "../kit/facts.ts";

export interface Cpu {
  /** CPUID vendor string. */
  readonly vendor: string;
  readonly model: string;
  readonly family: number;
  readonly number: number;
  readonly sockets: number;
  /** Of svm, sme, sev, sev_es, sev_snp; of vmx, tme, sgx on Intel's. */
  readonly flags: readonly string[];
}

interface Field {
  readonly field: string;
  readonly data: string | null;
  readonly children?: readonly Field[] | undefined;
}
const Field: z.ZodType<Field> = z.object({
  field: z.string(),
  data: z.string().nullable(),
  get children() {
    return z.array(Field).optional();
  },
});
const Lscpu = z.object({ lscpu: z.array(Field) });

/** Newer lscpu nests fields, older ones list them flat; both end in a colon. */
function fieldsOf(list: readonly Field[]): [string, string][] {
  return list.flatMap((f) => [
    [f.field.replace(/:$/, ""), f.data ?? ""] as [string, string],
    ...fieldsOf(f.children ?? []),
  ]);
}

export function parseCpu(json: string): Fact<Cpu> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return unknown("lscpu -J printed no JSON");
  }
  const parsed = Lscpu.safeParse(value);
  if (!parsed.success) return unknown("lscpu -J printed other fields than expected");
  const fields = new Map(fieldsOf(parsed.data.lscpu));
  const [family, number] = [Number(fields.get("CPU family")), Number(fields.get("Model"))];
  const vendor = fields.get("Vendor ID");
  if (vendor === undefined || !Number.isInteger(family) || !Number.isInteger(number))
    return unknown("lscpu -J names no vendor, family or model");
  const flags = (fields.get("Flags") ?? "")
    .split(/\s+/)
    .filter((f) => ["svm", "sme", "sev", "sev_es", "sev_snp", "vmx", "tme", "sgx"].includes(f));
  return known({
    vendor,
    model: fields.get("Model name") ?? "",
    family,
    number,
    sockets: Number(fields.get("Socket(s)") ?? "1"),
    flags,
  });
}

/** Answer of `lscpu -J` for one processor; for examples and tests. */
export const lscpu = (vendor: string, family: number, model: number, name: string, flags = "fpu svm sme sev"): Answer =>
  ok(
    JSON.stringify({
      lscpu: [
        {
          field: "Vendor ID:",
          data: vendor,
          children: [
            {
              field: "Model name:",
              data: name,
              children: [
                { field: "CPU family:", data: String(family) },
                { field: "Model:", data: String(model) },
                { field: "Socket(s):", data: "2" },
                { field: "Flags:", data: flags },
              ],
            },
          ],
        },
      ],
    }),
  );
