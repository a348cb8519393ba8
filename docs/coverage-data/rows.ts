/** A test by its file and its own title; an example of a facet is a test of the facet's test file. */
export interface Proof {
  readonly file: string;
  readonly test: string;
}

/**
 * What answers for one id of the checklist. Facets say themselves which ids they cover; a row of theirs adds the proof.
 */
export type Row =
  | { readonly by: "facet"; readonly proof: Proof }
  /** A value of a profile: `value` is its path. */
  | { readonly by: "profile"; readonly profile: string; readonly value: string; readonly proof: Proof }
  /** Something of the program that is no facet. */
  | { readonly by: "program"; readonly what: string; readonly proof: Proof }
  /** Only a person can do it. */
  | { readonly by: "person"; readonly why: string }
  /** Nothing that could be done or checked on a node. */
  | { readonly by: "context"; readonly why: string }
  | { readonly by: "later"; readonly why: string };

export type Rows = Readonly<Record<string, Row>>;

const SEED = "nvidia-du-11462-001-v1.0";

export const proven = (file: string, test: string): Row => ({ by: "facet", proof: { file, test } });
/** Proven by an example that stands with the facet; the suite runs all of them. */
export const example = (facet: string, name: string): Row =>
  proven("test/facets/examples.test.ts", `${facet}: examples ${name}`);
/** Rows of facets that the test of that id in a file proves, for a text of ids. */
export const stepsIn = (file: string, ids: string): Rows =>
  Object.fromEntries(
    ids
      .trim()
      .split(/\s+/)
      .map((id) => [id, proven(file, id)]),
  );
export const steps = (ids: string): Rows => stepsIn("test/docs/seed-steps.test.ts", ids);
/** A value of the seed's profile, proven by the row of that id in the table of values. */
export const value = (id: string, path: string): Row => ({
  by: "profile",
  profile: SEED,
  value: path,
  proof: { file: "test/docs/seed-values.test.ts", test: id },
});
export const program = (what: string, file: string, test: string): Row => ({
  by: "program",
  what,
  proof: { file, test },
});
export const person = (why: string): Row => ({ by: "person", why });
export const context = (why: string): Row => ({ by: "context", why });
export const later = (why: string): Row => ({ by: "later", why });
