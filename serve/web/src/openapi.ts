/** The types of an OpenAPI document in words. Pure. */

export interface Schema {
  type?: string;
  format?: string;
  $ref?: string;
  description?: string;
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  allOf?: Schema[];
  items?: Schema;
  prefixItems?: Schema[];
  properties?: Record<string, Schema>;
}

/** A piece of text; `named` where it is the name of a schema of the same document. */
export interface Part {
  text: string;
  named: boolean;
}

const said = (text: string): Part => ({ text, named: false });

/** "MatchSummary", "number or null", "list of string", "(number, number)", "live, ended or void". */
export function schemaWords(schema: Schema): Part[] {
  if (schema.$ref) return [{ text: schema.$ref.split("/").at(-1)!, named: true }];
  if (schema.const !== undefined) return [said(String(schema.const))];
  if (schema.enum) return [said(listed(schema.enum.map(String)))];
  const choices = schema.anyOf ?? schema.allOf;
  if (choices) return joined(choices, " or ");
  if (schema.prefixItems) return [said("("), ...joined(schema.prefixItems, ", "), said(")")];
  if (schema.type === "array") return [said("list of "), ...schemaWords(schema.items ?? {})];
  return [said(schema.type ?? "anything")];
}

function joined(schemas: Schema[], between: string): Part[] {
  return schemas.flatMap((one, index) => (index ? [said(between), ...schemaWords(one)] : schemaWords(one)));
}

const listed = (names: string[]): string =>
  names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
