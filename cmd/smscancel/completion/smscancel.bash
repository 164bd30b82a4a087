# bash completion for smscancel.
_smscancel() {
    # Bash breaks --flag=value into three words; the program sees one.
    local words=() word i split='' found
    for ((i = 1; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == = || ${COMP_WORDS[i - 1]} == = ]] && ((${#words[@]})); then
            words[-1]+=$word
        else
            words+=("$word")
        fi
    done
    local last=${words[-1]} value=${COMP_WORDS[COMP_CWORD]}
    if [[ $last == --*=* ]]; then
        split=${last%%=*}= value=${last#*=}
    fi
    mapfile -t found < <("${COMP_WORDS[0]}" __complete "${words[@]}" 2>/dev/null)
    COMPREPLY=()
    case ${found[0]-} in
    :files)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$value")
        ;;
    :directories)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$value")
        ;;
    *)
        for word in "${found[@]}"; do
            word=${word%%$'\t'*}
            COMPREPLY+=("${word#"$split"}")
        done
        ;;
    esac
}
complete -F _smscancel smscancel
