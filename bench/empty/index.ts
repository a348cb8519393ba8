import * as pulumi from "@pulumi/pulumi";

class Nothing extends pulumi.dynamic.Resource {
  constructor(name: string) {
    super({ create: async () => ({ id: name, outs: {} }), diff: async () => ({ changes: false }) }, name, {});
  }
}

export const made = new Nothing("nothing").id;
