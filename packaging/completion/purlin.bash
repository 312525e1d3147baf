# bash completion of purlin and purlind, which say themselves what may follow.

# The words up to the cursor as purlin gets them: bash also breaks at '=', ':' and '@', which stand inside of words here.
_purlin_words() {
  local line=${COMP_LINE:0:COMP_POINT} piece
  local -i i
  words=()
  for ((i = 0; i <= COMP_CWORD; i++)); do
    piece=${COMP_WORDS[i]}
    if ((i == 0)) || [[ $line == [[:blank:]]* ]]; then
      line=${line#"${line%%[![:blank:]]*}"}
      words+=("")
    fi
    ((i == COMP_CWORD)) && piece=${line:0:${#piece}}
    line=${line#"$piece"}
    words[-1]+=$piece
  done
  local -i last=${#words[@]}-1
  for ((i = 0; i < last; i++)); do # quotes are the shell's
    case ${words[i]} in
      \'*\' | \"*\") words[i]=${words[i]:1:-1} ;;
    esac
  done
}

_purlin() {
  local IFS=$' \t\n' words candidate begun
  _purlin_words
  begun=${words[-1]}
  # What bash takes to be the word begins behind the last sign at which it breaks.
  local kept=${COMP_WORDS[COMP_CWORD]} before=
  [[ $kept == [=:@] ]] && kept=
  before=${begun%"$kept"}
  COMPREPLY=()
  while IFS=$'\t' read -r candidate _; do
    case $candidate in
      :files | :folders)
        compopt -o filenames 2> /dev/null
        local kind=-f
        [[ $candidate == :folders ]] && kind=-d
        while IFS= read -r candidate; do COMPREPLY+=("${candidate#"$before"}"); done < <(compgen $kind -- "$begun") ;;
      *) COMPREPLY+=("${candidate#"$before"}") ;;
    esac
  done < <("$1" __complete "${words[@]:1}" 2> /dev/null)
}

complete -F _purlin purlin purlind
