// Made of script/*.lua by `deno task lua`: change those, and run it.

/** What a store runs in Redis, for any operation. */
export const SCRIPT: string =
  `local a,b,c,d=KEYS[1],KEYS[2],KEYS[3],KEYS[4]local e,f,g=ARGV[1],ARGV[4],redis.call;local h,i,j=
tonumber(ARGV[5]),tonumber(ARGV[6]),tonumber(ARGV[7])local k=table.remove(ARGV)~=''local l=table.
remove(ARGV)if e=='confirm'then g('HDEL',a,unpack(ARGV,9))return{1,0,0}end;local m=math.floor(ARGV[3
]~=''and ARGV[3]or ARGV[2])if ARGV[3]==''then local n,o=pcall(g,'TIME')if n then m=o[1]*1000+math.
floor(o[2]/1000)end end;local function p(q)return type(q)=='number'and string.format('%.0f',q)or q
or''end;local function r(s,q)local t=tonumber(q)if t and t%1==0 and math.abs(t)<=9007199254740991
then return t end;if q and q~=''then error('the field "'..s..'" of the circuit makes no sense',0)end
end;local function u(v,w)for x=1,#w,1000 do g('HDEL',v,unpack(w,x,math.min(x+999,#w)))end end;local
function y(v)local z,A={},g('HGETALL',v)for x=1,#A,2 do z[A[x]]=A[x+1]end;return z,#A>0 end;local B,
C,D,E=y(a),{},{},false;local function F(s,q)B[s]=p(q)C[s],E=B[s],true end;local function G(s)B[s],C[
s],E=nil,nil,true;D[#D+1]=s end;local function H(s)return r(s,B[s])end;local function I()return(B.
override or'')~=''end;local function J(s)return s:sub(1,6)=='lease:'end;if B.epoch==''then B.epoch=
nil end;local K=not B.epoch;if B.prefix and B.prefix~=ARGV[8]then return redis.error_reply(
'ERR the circuit belongs to a store with another prefix')end;for L,s in ipairs(K and{}or{
'generation','since','began'})do r(s,B[s]or'?')end;local M,N={'epoch','policyHash','outcomes',
'cursor','since','trial','halfOpen.successes','halfOpen.failures','totals.successes',
'totals.failures','totals.rejected','totals.slow','lastFailureAt','lastSuccessAt','ids',
'sinceClosed.successes','sinceClosed.failures','sinceClosed.slow','consecutiveSuccesses',
'consecutiveFailures','start','newest.successes','newest.failures','newest.slow','floor','after',
'from','older.successes','older.failures','older.slow'},16;local O,P,Q,R={},nil,false,false;local S=
g('HMGET',b,'id:'..f,unpack(M))local n=r('id',table.remove(S,1))if not K and S[1]==B.epoch then for
x,T in ipairs(M)do if x>4 then O[T]=r(T,S[x])else O[T]=S[x]or nil end end;if n and m-math.floor(n/2)
<60000 then P=n%2==1 end else S,R={},S[1]end;local U=O.policyHash;local function V(T)return O[T]or 0
end;local function W(T,t)if t~=0 then O[T]=V(T)+t end end;local function X(Y,Z,_,a0)W(Y..
'.successes',Z)W(Y..'.failures',_)W(Y..'.slow',a0)end;local function a1(Y)return V(Y..'.successes'),
V(Y..'.failures'),V(Y..'.slow')end;local function a2(...)for L,T in ipairs({...})do O[T]=nil end end
;local function a3()if O.since~=H('since')then a2('outcomes',unpack(M,N))O.since=H('since')end;if O.
trial~=H('generation')then a2('halfOpen.successes','halfOpen.failures')O.trial=H('generation')end
end;a3()local function a4(a5)P,Q,E=a5,true,true end;local a6={'consecutiveFailures',
'consecutiveSuccesses','sinceClosed.failures','sinceClosed.successes','sinceClosed.slow',
'totals.failures','totals.successes','totals.rejected','totals.slow','halfOpen.successes',
'halfOpen.failures'}local function a7(a8,a9,aa,ab,ac,ad,ae,af)if l==''then return end;local ag,ah={}
,{}for s,q in pairs(B)do local V,ai=s:match('^row:(%d+) %-?%d+ (.*)$')if V then local aj=tonumber(q:
match('^%S+ %S+ %S+ %S+ (%S+)'))or 0;local ak,al={aj,tonumber(V),ai,s},ah[ai]ag[#ag+1]=ak;if not al
or aj<al[1]or aj==al[1]and ak[2]<al[2]then ah[ai]=ak end end end;if#ag>=64 then for L,ak in ipairs(
ag)do local al=ah[ak[3]]ak[5]=('%020.0f%020.0f%s %020.0f'):format(al[1],al[2],ak[3],ak[2])end;table.
sort(ag,function(am,an)return am[5]<an[5]end)local ao,ap=ag[1][4],ag[2][4]local aq,ar=B[ap]:match(
'^(%d+)(.*)$')F(ap,p((aq or 0)+1+(B[ao]:match('^%d+')or 0))..(ar or''))G(ao)end;local ak={0,a8,B.
state,a9 or B.state,p(m),ac or'-',p(ad or'-')}for L,T in ipairs(a6)do ak[#ak+1]=p(V(T))end;ak[#ak+1]
=ab or l;ae=p(ae or H('generation')+1)aa=p(aa or m)F('row:'..ae..' '..aa..' '..(af or B.epoch),table
.concat(ak,' '))end;local function as(ae,aa,at)F('generation',ae)F('began',aa)if at then F('since',
ae)end;for s in pairs(B)do if J(s)then G(s)end end;a3()end;local function au(aa,at)as(H('generation'
)+1,aa,at)end;local function av(af,ae,aa)return af==B.epoch and tonumber(ae)==H('generation')and
tonumber(aa)==H('began')end;local aw=false;local ax=f..'.'..p(m)local function ay(ae)for s in pairs(
B)do if s:sub(1,4)~='row:'and s~='expires'then G(s)end end;O,aw={},true;F('epoch',ax)F('state',
'CLOSED')F('prefix',ARGV[8])as(ae,m,true)end;local function az(aa,ac,ad,aA,aB)F('override',ac)F(
'override.until',ad)F('override.reason',aA)F('override.actor',aB)aw=true;au(aa,true)end;local aC={}
local function aD()local ad=H('override.until')if I()and ad and ad<=m then local aE=
'{"reason":"expired","actor":null,'..(l:match('"isolate":.*')or'}')a7('released',nil,ad,aE,B.
override)for s,q in pairs(B)do if s:sub(1,8)=='override'then aC['released'..s:sub(9)]=q end end;az(
ad)end end;local function aF()return B.epoch..':'..B.since end;local aG={}local function aH(v,ap,aI,
t,a0,aJ)local z,aK=y(v)if z.of~=aF()then if aI and aK then g('DEL',v)end;z={}aG[v]=aI end;local aL,
aM,aN,aO={},{0,0},nil,{}local function aP(s,aQ)if aQ==0 then return end;z[s]=p((r(s,z[s])or 0)+aQ)aL
[#aL+1],aL[#aL+2]=s,z[s]end;local aR=aI and{[p(aI)]=t,['s'..p(aI)]=a0}or{}for s,aQ in pairs(aR)do if
aJ and z[s]then z[s],aO[#aO+1]=nil,s end;aP(s,aQ)end;for s,aS in pairs(z)do local aT,aa=s:match(
'^(s?)(%-?%d+)$')aa=tonumber(aa)if aa and(aa>ap or aa==aI)then local x=#aT+1;aM[x]=aM[x]+r(s,aS)aN=
math.min(aN or aa,aa)elseif aa then aO[#aO+1]=s end end;if aI and#aO>(aJ and 0 or 20)then u(v,aO)end
;if#aL>0 then g('HSET',v,'of',aF(),unpack(aL))end;return aM[1],aM[2],aN end;local function aU(ap,aI,
Z,_,a0)local aV,aW,aX=a1('older')local aJ=aI and aI<=ap;local aY,L,aN,aZ=aJ or O.after and O.after>
ap,nil,nil,nil;if aY or aV+Z>0 then aV,L,aN=aH(d,ap,aI,Z,0,aJ)end;if aY or aW+aX+_+a0>0 then aW,aX,
aZ=aH(c,ap,aI,_,a0,aJ)end;if aJ then ap=aI-1;O.floor=ap end;O['older.successes'],O['older.failures']
,O['older.slow']=aV,aW,aX;O.after,O.from=ap,aN and aZ and math.min(aN,aZ)or aN or aZ end;local
function a_(Z,_,a0,b0)local b1,b2,aI=math.ceil(h/10),m,O.start;if not aI or b0>0 or m>=aI+b1 then b2
=math.max(m,aI or m)aI=math.floor((b2-b0)/b1)*b1;if aI<=b2-h then return end end;if aI~=O.start then
local b3=math.max(O.floor or b2-h,b2-h)O.floor=b3;if O.start and aI<O.start then return aU(b3,aI,Z,_
,a0)end;if O.start and O.start>b3 then aU(b3,O.start,a1('newest'))else a2('after','from',
'older.successes','older.failures','older.slow')end;a2('newest.successes','newest.failures',
'newest.slow')O.start=aI end;X('newest',Z,_,a0)end;local function b4(T,b5)local b6=O[T]if not(b6 and
b6>b5 and b6<=m)then O[T]=b5 end end;local function aS(Z,_,a0,b0)X('sinceClosed',Z,_,a0)if Z>0 then
W('consecutiveSuccesses',Z)a2('consecutiveFailures')b4('lastSuccessAt',m-b0)end;if _>0 then local b7
=O.lastSuccessAt;if not b7 or math.max(m,b7)-b0>=b7 then W('consecutiveFailures',_)a2(
'consecutiveSuccesses')end;b4('lastFailureAt',m-b0)end;if B.state=='HALF_OPEN'then X('halfOpen',Z,_,
0)end;a_(Z,_,a0,b0)if i>0 then local b5=('S'):rep(math.min(Z,i))..('F'):rep(_)O.outcomes=((O.
outcomes or'')..b5):sub(-i)end end;local b8=100;local function b9(s)local ad,b1=(B[s]or''):match(
'^(%S+) (%S+)$')return r(s,ad or B[s]),r(s,b1)end;local function ba(bb,bc,bd)local be=0;for s in
pairs(B)do if J(s)then local ad,b1=b9(s)if ad<=m or b1>0 and ad-m>2*b1 then G(s)elseif b1>0 then be=
be+1 end end end;local s='lease:'..bb;local ad,b1=b9(s)if ad then return b1>0 end;if be>=bc then
return false end;F(s,p(m+bd)..' '..p(bd))return true end;local function bf(bb)local ad,b1=b9(
'lease:'..bb)if not ad or b1==0 then return end;F('lease:'..bb,p(ad)..' 0')local aS,al,bg=0,nil,nil;
for s in pairs(B)do if J(s)then ad,b1=b9(s)if b1==0 then aS=aS+1;if not al or ad<bg then al,bg=s,ad
end end end end;if aS>b8 then G(al)end end;local bh,bi=true,false;local function bj(bk,bl)bh=B.epoch
or bk;if not bh then return end;if not B.epoch then ay(1)end;if P==nil then aD()a4(bl())end;bh=P end
;if e=='record'then local af,ae=ARGV[9],tonumber(ARGV[10])local Z,_,a0=tonumber(ARGV[12]),tonumber(
ARGV[13]),tonumber(ARGV[15])bj(true,function()local bm=av(af,ae,ARGV[11])if af==''then bm=ae==0 and
H('generation')==1 end;X('totals',Z,_,a0)W('totals.rejected',tonumber(ARGV[14]))O.policyHash=ARGV[18
]if bm and Z+_>0 then aS(Z,_,a0,math.max(0,math.floor(ARGV[16])))end;bf(ARGV[17])return bm end)
elseif e=='acquire'and B.epoch then aD()bi=P or false;if I()then bh=B.override~='forced_open'elseif
B.state~='CLOSED'then local bn,b1=(H('openUntil')or m)-m,H('cooldownMs')local bo=b1 and bn>b1+math.
max(b1,60000)if not bi and B.state=='OPEN'and(bn<=0 or bo)then a7('half_opened','HALF_OPEN')F(
'state','HALF_OPEN')F('reason','cooldown_passed')au(m)bi=true;a4(true)end;bh=B.state=='HALF_OPEN'and
ba(ARGV[9],tonumber(ARGV[10]),tonumber(ARGV[11]))end elseif e=='transition'then local a9,bp=ARGV[9],
ARGV[14]~=''bj(not bp,function()if bp and not av(ARGV[13],ARGV[14],ARGV[15])then return false end;if
ARGV[10]=='closed'and V('halfOpen.failures')>0 then return false end;a7(ARGV[10],a9)if a9=='OPEN'
then F('reopenCount',B.state=='HALF_OPEN'and(H('reopenCount')or 0)+1 or 0)F('openedAt',m)F(
'openUntil',m+ARGV[11])F('cooldownMs',ARGV[11])F('lastFailure',ARGV[16])else if B.state~='CLOSED'
then F('closedAt',m)end;F('reopenCount',0)F('openUntil')F('cooldownMs')end;F('state',a9)F('reason',
ARGV[12])au(m,a9=='CLOSED')return true end)elseif e=='override'then local ac,ad=ARGV[9],tonumber(
ARGV[10])bj(ac~='',function()if ac==''and not I()then return false end;ad=ad and math.floor(ad-ARGV[
2]+m)a7(ac==''and'released'or ac,nil,nil,nil,ac==''and B.override or ac,ad)az(m,ac,ad,ARGV[11],ARGV[
12])return true end)elseif e=='restore'then local b6=B.epoch;bj(true,function()if b6 and ARGV[9]==
'keep'then return false end;local ae=math.max(H('generation'),ARGV[10])+1;a7('imported',ARGV[13]:sub(
2),nil,nil,nil,nil,ae,ax)ay(ae)local function bq(q)local aT=q:sub(1,1)if aT=='='then return q:sub(2)
end;return aT=='@'and p(q:sub(2)-ARGV[2]+m)or q end;local al,br=12+2*ARGV[11],{}for L,T in ipairs(M)
do br[T]=true end;for x=12,al-1,2 do local s,q=ARGV[x],bq(ARGV[x+1])if br[s]then O[s]=s~=
'policyHash'and tonumber(q)or q else F(s,q)end end;for x=al,#ARGV,4 do if O.start then aU(-1e15,O.
start,a1('newest'))end;O.start,O['newest.successes']=tonumber(bq(ARGV[x])),tonumber(ARGV[x+1])O[
'newest.failures'],O['newest.slow']=tonumber(ARGV[x+2]),tonumber(ARGV[x+3])end;U=O.policyHash;return
true end)end;local aV,aW,a0=0,0,0;local ap=math.max(m,O.start or m)-h;ap=math.max(ap,O.floor or ap)
if O.start and O.start>ap then if(O.after or ap)>ap or(O.from or m)<=ap then aU(ap,nil,0,0,0)end;aV,
aW,a0=a1('newest')aV,aW,a0=aV+V('older.successes'),aW+V('older.failures'),a0+V('older.slow')end;if E
then O.epoch=B.epoch;if not H('openedAt')and not I()then j=math.min(j,864e5)end;local bs=math.max(m,
H('openUntil')or 0,H('override.until')or 0)+j;local bt=bs>(H('expires')or 0)if bt then F('expires',
bs+math.floor(j/8))end;u(a,D)local aL,aO={},{}for s,q in pairs(C)do aL[#aL+1],aL[#aL+2]=s,q end;if#
aL>0 then g('HSET',a,unpack(aL))end;aL={}if Q then O.ids=V('ids')+1;if O.ids%16==0 then local bu=g(
'HSCAN',b,(O.cursor or''):match('^%d+$')or 0,'MATCH','id:*','COUNT',64)O.cursor=bu[1]for x=1,#bu[2],
2 do if m-math.floor((tonumber(bu[2][x+1])or 0)/2)>=60000 then aO[#aO+1]=bu[2][x]end end end;aL={
'id:'..f,p(m*2+(P and 1 or 0))}end;for x,T in ipairs(M)do local q=p(O[T])if q~=(S[x]or'')then aL[#aL
+1],aL[#aL+2]=T,q end end;aG[a],aG[b]=aw,not S[1]if R then g('DEL',b)end;u(b,aO)if#aL>0 then g(
'HSET',b,unpack(aL))end;for L,v in ipairs(KEYS)do if v==a and I()and not H('override.until')then if
aw then g('PERSIST',a)end elseif aG[v]or bt and not K then g('PEXPIRE',v,p(H('expires')-m))end end
end;local a5={bh and 1 or 0,bi and 1 or 0,m}local function bv(z,b6)for s,q in pairs(z)do local bw=s:
sub(1,4)=='row:'and not k;if not bw and not(J(s)and q:sub(-2)==' 0')then a5[#a5+1],a5[#a5+2]=(b6 or
'')..s,'='..p(q)end end end;if B.epoch then bv(B)bv(O)bv(aC)bv({policyHash=U or'',successes=aV,
failures=aW,slow=a0},'answer.')if e=='dump'then bv(y(c),'failures:')bv(y(d),'successes:')end end;
return a5`;

/** Its SHA-1, by which Redis knows it. */
export const SCRIPT_SHA1: string = "72a021e6fad342d13dc6c394115ea46105eb9bab";
