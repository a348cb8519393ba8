import { z } from "zod";
import { StackConfigSchema } from "../../providers/kit/config.ts";
import { FleetSchema } from "../fleet.ts";

type JsonSchema = { [key: string]: unknown };

/**
 * JSON Schema of a whole `Pulumi.<stack>.yaml` for editor completion. Keys of the project's own namespace are strict,
 * so a misspelt key is underlined; other namespaces and Pulumi's own keys are left alone.
 */
export function stackConfigSchema(): JsonSchema {
  const own = z.toJSONSchema(StackConfigSchema, { io: "input" }) as JsonSchema & {
    properties: Record<string, JsonSchema>;
    required?: string[];
  };
  const properties = Object.fromEntries(
    Object.entries(own.properties).map(([key, schema]) => [`teeup:${key}`, allowSecrets(schema)]),
  );
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Pulumi.<stack>.yaml of a TeeUp stack",
    type: "object",
    properties: {
      config: {
        type: "object",
        properties,
        required: (own.required ?? []).map((key) => `teeup:${key}`),
        patternProperties: { "^(?!teeup:)": true },
        additionalProperties: false,
      },
      encryptionsalt: { type: "string" },
      encryptedkey: { type: "string" },
      secretsprovider: { type: "string" },
      environment: true,
    },
    required: ["config"],
    additionalProperties: false,
  };
}

/** A BMC password stands in the file as Pulumi encrypts it; in clear it is refused, as it is by the provider. */
function allowSecrets(schema: JsonSchema): JsonSchema {
  return JSON.parse(JSON.stringify(schema), (key, value: unknown) => {
    if (key !== "password" || typeof value !== "object" || value === null) return value;
    const { description } = value as { description?: string };
    return {
      ...(description === undefined ? {} : { description }),
      type: "object",
      properties: { secure: { type: "string" } },
      required: ["secure"],
      additionalProperties: false,
    };
  }) as JsonSchema;
}

/** JSON Schema of a fleet file (`teeup drift --fleet`). */
export const fleetSchema = (): JsonSchema => ({
  ...(z.toJSONSchema(FleetSchema, { io: "input" }) as JsonSchema),
  title: "A fleet of TeeUp: stacks whose nodes are scanned together",
});
