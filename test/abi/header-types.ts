// The structs and enums of a C header, and the TypeScript tables that must agree with them.

type Table = Readonly<Record<string, number>>;

/** Tables by the name that the header has for their struct or enum. */
export interface TypeTables {
  /** Which of a struct's doubles each member is, counted from 0. */
  readonly structs: Readonly<Record<string, Table>>;
  /** The value of each enumerator. */
  readonly enums: Readonly<Record<string, Table>>;
}

function withoutComments(header: string): string {
  return header.replace(/\/\*.*?\*\/|\/\/[^\n]*/gs, "");
}

/**
 * The name of a member or an enumerator.
 *
 * @throws {Error} The member is not a double, or the declaration declares more than one name.
 */
function nameIn(kind: string, declaration: string): string {
  const pattern = kind === "enum" ? /^(\w+)(\s*=\s*-?\w+)?$/ : /^double (\w+)$/;
  const name = pattern.exec(declaration)?.[1];
  if (name === undefined) throw new Error(`no table can describe ${kind} { ${declaration} }`);
  return name;
}

/**
 * The names inside every struct, union and enum that a header defines, by kind and name, such as
 * `"enum memory_type"`.
 *
 * @throws {Error} A definition is nested, or has members that are not doubles.
 */
export function typesIn(header: string): Map<string, string[]> {
  const types = new Map<string, string[]>();
  const rest = withoutComments(header)
    .replace('extern "C" {', "")
    .replace(/\b(struct|union|enum)\s*(\w*)\s*\{([^{}]*)\}/g, (_, kind, name, body) => {
      const declarations = String(body).split(kind === "enum" ? "," : ";");
      const names = declarations.map((each) => each.trim()).filter((each) => each !== "");
      types.set(
        `${kind} ${name}`,
        names.map((each) => nameIn(kind, each)),
      );
      return "";
    });
  const unread = /[^\n]*\{/.exec(rest)?.[0];
  if (unread !== undefined) throw new Error(`not a definition that can be read: ${unread}`);
  return types;
}

/** Where a header and the tables do not have the same types with the same names inside them. */
export function namingProblems(header: string, { structs, enums }: TypeTables): string[] {
  const types = typesIn(header);
  const tables = new Map<string, Table>([
    ...Object.entries(structs).map(([name, table]) => [`struct ${name}`, table] as const),
    ...Object.entries(enums).map(([name, table]) => [`enum ${name}`, table] as const),
  ]);
  const problems: string[] = [];
  for (const type of new Set([...types.keys(), ...tables.keys()])) {
    const [names, table] = [types.get(type), tables.get(type)];
    if (names === undefined) problems.push(`${type} is not in the header`);
    else if (table === undefined) problems.push(`${type} has no table`);
    else {
      const missing = names.filter((name) => !Object.hasOwn(table, name));
      const extra = Object.keys(table).filter((name) => !names.includes(name));
      problems.push(...missing.map((name) => `${type}: ${name} is not in the table`));
      problems.push(...extra.map((name) => `${type}: ${name} is not in the header`));
    }
  }
  return problems;
}

/** C++ expressions that hold if each member and each enumerator is where its table says. */
export function typeAssertions({ structs, enums }: TypeTables): string[] {
  return [
    ...Object.entries(structs).flatMap(([name, members]) => [
      ...Object.entries(members).flatMap(([member, index]) => [
        `ffi::is_f64<decltype(${name}::${member})>::value`,
        `offsetof(${name}, ${member}) == ${index} * sizeof(double)`,
      ]),
      `sizeof(${name}) == ${Object.keys(members).length} * sizeof(double)`,
    ]),
    ...Object.entries(enums).flatMap(([name, values]) =>
      Object.entries(values).map(([enumerator, value]) => `${name}::${enumerator} == ${value}`),
    ),
  ];
}
