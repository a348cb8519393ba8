import * as shlex from "shlex";

/**
 * One word for a POSIX shell. Throws on what cannot arrive as it is: a NUL byte ends a word, and half of a surrogate
 * pair has no UTF-8 form.
 */
export function quoteWord(word: string): string {
  if (word.includes("\0")) throw new Error("a word of a command holds a NUL byte");
  if (!word.isWellFormed()) throw new Error("a word of a command holds half of a surrogate pair");
  return shlex.quote(word);
}

export const quoteWords = (words: readonly string[]): string => words.map(quoteWord).join(" ");

// shlex.split is no inverse: it takes escapes inside single quotes for escapes when double quotes stand beside them.
const PIECE = /'([^']*)'|"('+)"|([^\s'"\\$`]+)/y;

/**
 * The lines of text that {@link quoteWords} wrote, as words; a newline inside quotes ends no line. Throws on anything
 * that quoteWords would not write.
 */
export function splitLines(text: string): string[][] {
  const lines: string[][] = [];
  let line: string[] = [];
  let word: string | undefined;
  const endWord = () => {
    if (word !== undefined) line.push(word);
    word = undefined;
  };
  for (let at = 0; at < text.length; ) {
    if (text[at] === " " || text[at] === "\n") {
      endWord();
      if (text[at] === "\n" && line.length > 0) {
        lines.push(line);
        line = [];
      }
      at++;
      continue;
    }
    PIECE.lastIndex = at;
    const piece = PIECE.exec(text);
    if (piece === null) throw new Error(`not a quoted word: ${JSON.stringify(text.slice(at, at + 40))}`);
    word = (word ?? "") + (piece[1] ?? piece[2] ?? piece[3] ?? "");
    at = PIECE.lastIndex;
  }
  endWord();
  if (line.length > 0) lines.push(line);
  return lines;
}
